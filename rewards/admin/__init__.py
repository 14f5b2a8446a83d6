"""The door where Django looks for the admin: a module per package, registered on import."""

from rewards.admin import (  # noqa: F401  importing registers
    access,
    activity,
    alerts,
    audit,
    campaigns,
    cases,
    chain,
    claims,
    corrections,
    deployments,
    distributions,
    jobs,
    ledger,
    monthly,
    parameters,
    pending,
    pools,
    ranking_categories,
    schedules,
    users,
)
