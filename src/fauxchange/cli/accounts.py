"""`accounts`: create accounts on a running exchange, fund them, give them keys, suspend and close them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from fauxchange.cli.clients import AdminKey, Count, Cursor, document, find_venue, open_client, shown, tell_of_more
from fauxchange.cli.console import facts, messages, name_column, number_column, output, print_json, table
from fauxchange.cli.options import DataDir, Json, Url, examples

if TYPE_CHECKING:
    from fauxchange.contracts.exchange.messages import AccountMessage, BalanceMessage, TransferMessage

PAGE = 50
STATUS_STYLES = {"active": "green", "suspended": "yellow", "closed": "dim"}

commands = typer.Typer(
    no_args_is_help=True,
    help="Create, fund, suspend and close accounts of a running exchange, and give them API keys.",
    epilog=examples(
        'fauxchange accounts create "my bot"',
        "fauxchange accounts deposit 5 USD 100000",
        "fauxchange accounts create-key 5 --label laptop",
        "fauxchange accounts list",
    ),
)

AccountId = Annotated[str, typer.Argument(metavar="ID", help="The account's id, as `list` shows it.")]
Asset = Annotated[str, typer.Argument(metavar="ASSET", help="An asset, such as USD.")]
Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="How much of it.")]
IdempotencyKey = Annotated[
    str | None,
    typer.Option("--idempotency-key", metavar="KEY", help="Your own key, by which repeating the command is safe."),
]


@commands.command("list", epilog=examples("fauxchange accounts list", "fauxchange accounts list --status suspended"))
def list_(
    *,
    status: Annotated[
        Literal["active", "suspended", "closed"] | None, typer.Option("--status", help="Only those with this status.")
    ] = None,
    count: Count = PAGE,
    cursor: Cursor = None,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """List the accounts, the oldest first."""
    with open_client(find_venue(url, data_dir, admin_key=admin_key)) as client:
        page = client.admin.list_accounts(status=status, limit=count, cursor=cursor)
    if as_json:
        print_json(document(page))
        return
    if not page.accounts:
        messages().print("there are no such accounts")
        return
    listed = table(name_column("Account"), "Name", "Status", number_column("Tier"), name_column("Created"))
    for account in page.accounts:
        listed.add_row(account.account_id, account.name, _status(account.status), str(account.tier), account.created_at)
    output().print(listed)
    tell_of_more(page.next_cursor)


@commands.command("create", epilog=examples('fauxchange accounts create "my bot"', "fauxchange accounts create desk"))
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for people.")],
    *,
    tier: Annotated[int, typer.Option("--tier", metavar="NUMBER", min=0, max=15, help="The fee tier.")] = 0,
    idempotency_key: IdempotencyKey = None,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Create an account; it has nothing, and no key yet."""
    with open_client(find_venue(url, data_dir, admin_key=admin_key)) as client:
        account = client.admin.create_account(name, tier=tier, idempotency_key=idempotency_key)
    _show(account, as_json=as_json)


@commands.command("show", epilog=examples("fauxchange accounts show 5"))
def show(
    account_id: AccountId,
    *,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Show an account and what it has."""
    with open_client(find_venue(url, data_dir, admin_key=admin_key)) as client:
        account = client.admin.get_account(account_id)
        balances = client.admin.get_balances(account_id).balances
    if as_json:
        print_json({**document(account), "balances": document(balances)})
        return
    _show(account, as_json=False, balances=balances)


def _changing(status: Literal["active", "suspended", "closed"], does: str) -> Callable[..., None]:
    """Return the command that gives an account a status."""

    def change(
        account_id: AccountId,
        *,
        as_json: Json = False,
        admin_key: AdminKey = None,
        url: Url = None,
        data_dir: DataDir = None,
    ) -> None:
        with open_client(find_venue(url, data_dir, admin_key=admin_key)) as client:
            account = client.admin.set_account_status(account_id, status)
        _show(account, as_json=as_json)

    change.__doc__ = does
    return change


commands.command("suspend", epilog=examples("fauxchange accounts suspend 5"))(
    _changing("suspended", "Suspend an account: it may cancel orders and take deposits, nothing else.")
)
commands.command("activate", epilog=examples("fauxchange accounts activate 5"))(
    _changing("active", "Let a suspended account trade again.")
)
commands.command("close", epilog=examples("fauxchange accounts close 5"))(
    _changing("closed", "Close an account that is empty, for good.")
)


@commands.command("deposit", epilog=examples("fauxchange accounts deposit 5 USD 100000"))
def deposit(
    account_id: AccountId,
    asset: Asset,
    amount: Amount,
    *,
    idempotency_key: IdempotencyKey = None,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Deposit an amount of an asset."""
    with open_client(find_venue(url, data_dir, admin_key=admin_key)) as client:
        transfer = client.admin.deposit(account_id, asset.upper(), amount, idempotency_key=idempotency_key)
    _show_transfer(transfer, as_json=as_json)


@commands.command("withdraw", epilog=examples("fauxchange accounts withdraw 5 USD 100"))
def withdraw(
    account_id: AccountId,
    asset: Asset,
    amount: Amount,
    *,
    idempotency_key: IdempotencyKey = None,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Withdraw an amount of an asset that is free."""
    with open_client(find_venue(url, data_dir, admin_key=admin_key)) as client:
        transfer = client.admin.withdraw(account_id, asset.upper(), amount, idempotency_key=idempotency_key)
    _show_transfer(transfer, as_json=as_json)


@commands.command("keys", epilog=examples("fauxchange accounts keys 5"))
def keys(
    account_id: AccountId,
    *,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """List an account's API keys, revoked ones too; secrets are shown by `create-key` alone."""
    with open_client(find_venue(url, data_dir, admin_key=admin_key)) as client:
        found = client.admin.list_keys(account_id)
    if as_json:
        print_json(document(found))
        return
    if not found.keys:
        messages().print(f"account {account_id} has no key")
        return
    listed = table(name_column("Key"), "Label", name_column("Created"), name_column("Revoked"))
    for key in found.keys:
        style = "dim" if key.revoked_at else ""
        listed.add_row(key.api_key, key.label, key.created_at, shown(key.revoked_at), style=style)
    output().print(listed)


@commands.command("create-key", epilog=examples("fauxchange accounts create-key 5 --label laptop"))
def create_key(
    account_id: AccountId,
    *,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="What the key is for.")] = "",
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Create an API key and print its secret, which is told this once."""
    with open_client(find_venue(url, data_dir, admin_key=admin_key)) as client:
        key = client.admin.create_key(account_id, label=label)
    if as_json:
        print_json(document(key))
        return
    output().print(facts({"account": key.account_id, "key": key.api_key, "secret": key.api_secret}))
    messages().print("keep the secret now: it is not shown again", style="yellow")


@commands.command("revoke-key", epilog=examples("fauxchange accounts revoke-key 5 KEY"))
def revoke_key(
    account_id: AccountId,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The API key, as `keys` shows it.")],
    *,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Revoke an API key: from now on nothing that is signed with it is accepted."""
    with open_client(find_venue(url, data_dir, admin_key=admin_key)) as client:
        revoked = client.admin.revoke_key(account_id, key)
    if as_json:
        print_json(document(revoked))
        return
    output().print(facts({"account": revoked.account_id, "key": revoked.api_key, "revoked": shown(revoked.revoked_at)}))


def _show(account: "AccountMessage", *, as_json: bool, balances: "Iterable[BalanceMessage]" = ()) -> None:
    if as_json:
        print_json(document(account))
        return
    told: dict[str, object] = {
        "account": account.account_id,
        "name": account.name,
        "status": _status(account.status),
        "tier": account.tier,
        "created": account.created_at,
        "changed": account.updated_at,
    }
    told |= {balance.asset: f"{balance.free} free, {balance.held} held" for balance in balances}
    output().print(facts(told))


def _show_transfer(transfer: "TransferMessage", *, as_json: bool) -> None:
    if as_json:
        print_json(document(transfer))
        return
    output().print(
        facts(
            {
                "account": transfer.account_id,
                "moved": f"{transfer.amount} {transfer.asset}",
                "free now": f"{transfer.free} {transfer.asset}",
                "held now": f"{transfer.held} {transfer.asset}",
            }
        )
    )


def _status(status: str) -> Text:
    return Text(status, style=STATUS_STYLES[status])
