"""Settings that all services share."""

from dataclasses import dataclass

from fanout.environment import Environment
from fanout.service.replica_name import replica_name
from fanout.settings import Settings, read_settings


@dataclass(frozen=True, kw_only=True)
class ServiceSettings(Settings):
    """The settings that all services share. `metrics_port`: 0 is any free port, None is no metrics."""

    heartbeat_file: str
    metrics_port: int | None


def read_service(env: Environment, service: str) -> ServiceSettings:
    """Read the settings that all services share; without INSTANCE the process is named after its replica.

    Raises:
        SettingError: a variable is invalid.
    """
    common = read_settings(env, lambda: replica_name(service), log_messages="all")
    off = env.text("METRICS_PORT") == "off"
    return ServiceSettings(
        **vars(common),
        heartbeat_file=env.text("HEARTBEAT_FILE"),
        metrics_port=None if off else env.integer("METRICS_PORT", 0, 0, 65535, also="off, or "),
    )
