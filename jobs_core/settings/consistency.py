"""Checks that settings fit together and suit production: refusals and warnings. Pure."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jobs_core.http.loopback import is_loopback
from jobs_core.settings.hints import hint
from jobs_core.settings.published_users import TEST_SIGNING_KEYS, TEST_TOKENS
from jobs_core.settings.regions import Region

if TYPE_CHECKING:
    from jobs_core.settings.settings import Settings


def problems(settings: "Settings") -> list[str]:
    """Return one line for each contradiction, and in production for each value that does not suit it."""
    return [
        *_contradictions(settings),
        *(_unfit_for_production(settings) if settings.is_production else ()),
    ]


def warnings(settings: "Settings") -> list[str]:
    """Return one line for each setting that works but should not stay so."""
    found = []
    if settings.is_production and settings.is_sqlite:
        found.append("DATABASE_URL is SQLite: one machine only, and its disk must outlive a deployment")
    if settings.is_production and settings.base_url.startswith("http://"):
        found.append("BASE_URL is not https: job payloads travel in the clear")
    if settings.is_production and not (settings.resend_api_key or settings.smtp_url):
        found.append("neither RESEND_API_KEY nor SMTP_URL is set: e-mails are printed, not sent")
    if settings.is_production and settings.admin_token is None:
        found.append("ADMIN_TOKEN is not set: health, metrics and the jobs page are closed")
    is_public = settings.base_url.startswith("https://") or _is_upstash(settings.qstash_url)
    if not settings.is_production and is_public:
        found += [
            f"{name} is a public test user's, and others can reach this app: anyone could sign jobs; "
            f"{hint(name)}, and set ENVIRONMENT=production"
            for name in _public_keys(settings)
        ]
    return found


def _contradictions(settings: "Settings") -> list[str]:
    found = []
    if settings.resend_api_key and not settings.resend_from_email:
        found.append(f"RESEND_FROM_EMAIL is not set, but RESEND_API_KEY is: {hint('RESEND_FROM_EMAIL')}")
    found += [
        f"{region}_QSTASH_CURRENT_SIGNING_KEY and {region}_QSTASH_NEXT_SIGNING_KEY: only one of them is set: "
        f"{hint('QSTASH_NEXT_SIGNING_KEY')}"
        for region in Region
        if _has_one_key(settings, region)
    ]
    if _is_upstash(settings.qstash_url) and settings.qstash_token.get_secret_value() in TEST_TOKENS:
        found.append(
            "QSTASH_TOKEN is not set (or is the emulator's test user), but QSTASH_URL is the real "
            f"service: {hint('QSTASH_TOKEN')}"
        )
    return found


def _has_one_key(settings: "Settings", region: Region) -> bool:
    current = getattr(settings, region.setting("qstash_current_signing_key"))
    following = getattr(settings, region.setting("qstash_next_signing_key"))
    return bool(current) != bool(following)


def _unfit_for_production(settings: "Settings") -> list[str]:
    found = []
    if _is_this_machine(settings.qstash_url):
        found.append(f"QSTASH_URL is this machine, in production: {hint('QSTASH_URL')}")
    if _is_this_machine(settings.base_url):
        found.append(f"BASE_URL is this machine, in production: {hint('BASE_URL')}")
    if settings.qstash_token.get_secret_value() in TEST_TOKENS and not _is_upstash(settings.qstash_url):
        found.append(f"QSTASH_TOKEN is a public test user, in production: {hint('QSTASH_TOKEN')}")
    return found + [
        f"{name} is a public test user's, in production, so anyone could sign: {hint(name)}"
        for name in _public_keys(settings)
    ]


def _public_keys(settings: "Settings") -> list[str]:
    """Return the variables whose signing keys are publicly known."""
    names = {
        f"{keys.prefix}{name}": key
        for keys in (settings.signing_keys, *settings.signing_keys_by_region.values())
        for name, key in (
            ("QSTASH_CURRENT_SIGNING_KEY", keys.current),
            ("QSTASH_NEXT_SIGNING_KEY", keys.next),
        )
    }
    return [name for name, key in names.items() if key in TEST_SIGNING_KEYS]


def _is_this_machine(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _is_upstash(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith(".upstash.io")
