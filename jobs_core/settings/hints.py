"""Sources of each variable's value, and the errors that name them."""

from pydantic import ValidationError

_CONSOLE = "https://console.upstash.com/qstash"
_HINTS = {
    "QSTASH_URL": f"the URL is shown at {_CONSOLE}",
    "QSTASH_TOKEN": f"copy it from {_CONSOLE}",
    "QSTASH_CURRENT_SIGNING_KEY": f"copy it from {_CONSOLE}, under Signing Keys",
    "QSTASH_NEXT_SIGNING_KEY": f"copy it from {_CONSOLE}, under Signing Keys",
    "BASE_URL": "the public origin of this app, such as https://app.example.com",
    "DATABASE_URL": "such as postgresql://user:password@host/database",
    "RESEND_API_KEY": "create one at https://resend.com/api-keys",
    "RESEND_FROM_EMAIL": "an address at a domain verified at https://resend.com/domains",
    "RESEND_WEBHOOK_SECRET": "copy it from https://resend.com/webhooks",
    "SMTP_URL": "such as smtp://user:password@host:587",
    "STRIPE_SECRET_KEY": "copy it from https://dashboard.stripe.com/apikeys",
    "STRIPE_WEBHOOK_SECRET": "copy it from https://dashboard.stripe.com/webhooks",
    "GITHUB_WEBHOOK_SECRET": "the secret given when the webhook was created",
    "ENVIRONMENT": "development, test or production",
    "ADMIN_TOKEN": "any long random text, such as the output of openssl rand -hex 32",
}


def hint(name: str) -> str:
    """Return where to get the value of a variable; a region's (``US_EAST_1_QSTASH_TOKEN``) without its prefix.

    Raise KeyError for a variable without a hint.
    """
    return _HINTS[name] if name in _HINTS else _HINTS[name[name.find("QSTASH_") :]]


def explain(error: ValidationError) -> str:
    """Return one line for each problem: the variable, what is wrong, where to get a right value."""
    lines = []
    for found in error.errors(include_url=False, include_input=False):
        message = found["msg"].removeprefix("Value error, ")
        if not found["loc"]:
            lines.append(message)
            continue
        name = str(found["loc"][0]).upper()
        where = f" ({_HINTS[name]})" if name in _HINTS else ""
        lines.append(f"{name}: {message}{where}")
    return "\n".join(lines)
