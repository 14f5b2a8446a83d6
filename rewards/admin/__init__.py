"""The door where Django looks for the admin: a module per package, registered on import."""

from rewards.admin import (  # noqa: F401  importing registers
    access,
    activity,
    alerts,
    audit,
    claims,
    distributions,
    jobs,
    ledger,
    parameters,
    pools,
    schedules,
    users,
)
