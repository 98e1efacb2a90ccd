-- Roles and database of Fauxchange, for psql as a superuser; it may be run again.
-- Each password is a variable: psql -v trading_ecosystem_owner_password=... ...
\set ON_ERROR_STOP on
SELECT 'CREATE ROLE trading_ecosystem_owner' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'trading_ecosystem_owner') \gexec
ALTER ROLE trading_ecosystem_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'trading_ecosystem_owner_password';
SELECT 'CREATE ROLE market_data_adapter' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'market_data_adapter') \gexec
ALTER ROLE market_data_adapter LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'market_data_adapter_password';
SELECT 'CREATE ROLE exchange_adapter' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exchange_adapter') \gexec
ALTER ROLE exchange_adapter LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'exchange_adapter_password';
SELECT 'CREATE ROLE configuration_adapter' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'configuration_adapter') \gexec
ALTER ROLE configuration_adapter LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'configuration_adapter_password';
SELECT 'CREATE DATABASE trading_ecosystem OWNER trading_ecosystem_owner' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'trading_ecosystem') \gexec
ALTER DATABASE trading_ecosystem OWNER TO trading_ecosystem_owner;
REVOKE ALL ON DATABASE trading_ecosystem FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE trading_ecosystem TO market_data_adapter;
GRANT CONNECT, TEMPORARY ON DATABASE trading_ecosystem TO exchange_adapter;
GRANT CONNECT, TEMPORARY ON DATABASE trading_ecosystem TO configuration_adapter;
