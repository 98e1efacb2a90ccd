#!/bin/sh
# Make the roles and the database, or set their passwords anew; tables and rights on them come with the migrations.
# psql reads the passwords from the environment itself: they stand on no command line.
set -eu

{
    for role in trading_ecosystem_owner market_data_adapter exchange_adapter configuration_adapter; do
        case $role in
            trading_ecosystem_owner) variable=DATABASE_OWNER_PASSWORD ;;
            *) variable=$(echo "${role}_PASSWORD" | tr '[:lower:]' '[:upper:]') ;;
        esac
        echo "\\getenv ${role}_password $variable"
    done
    echo '\i /etc/fauxchange/roles.sql'
} | exec psql --no-psqlrc --quiet --tuples-only --set=ON_ERROR_STOP=1 --file=-
