"""How a process reaches IB Gateway; the bridge and the order process read the same."""

from pydantic import Field, model_validator

from nautilus.settings.base import Settings

CLIENT_IDS = 10
"""How many client ids the bridge tries in turn when one is in use (a killed client holds its id for 10 s or more)."""


class GatewaySettings(Settings):
    """Where the gateway is, and how long it is waited for."""

    ib_host: str = Field("127.0.0.1", description="host of IB Gateway, TWS or the simulator")
    ib_port: int = Field(4002, ge=1, le=65_535, description="its API port (Gateway: 4001 live, 4002 paper)")
    ib_client_id: int = Field(
        17,
        ge=1,
        le=9_999,
        description="first client id to try; the next nine when it is in use, the tenth to compare volumes",
    )
    ib_timeout_s: float = Field(15.0, gt=0, description="longest wait for a connection")
    ib_heartbeat_s: float = Field(
        5.0, gt=0, description="how often the gateway is asked for its time; twice without an answer: connect anew"
    )
    source_replay: str = Field("", description="name of the replayed file, when the simulator replays one")
    control_host: str = Field("127.0.0.1", description="host of the simulator's control port")
    control_port: int = Field(
        0, ge=0, le=65_535, description="control port to read market time from; 0: IB's own clock. Never when deployed"
    )

    @property
    def bridge_client_ids(self) -> range:
        """The client ids that the bridge may use: those of its connection, and one more to compare volumes."""
        return range(self.ib_client_id, self.ib_client_id + CLIENT_IDS + 1)

    @model_validator(mode="after")
    def _no_foreign_clock_when_deployed(self) -> "GatewaySettings":
        if self.deployed and (self.control_port or self.source_replay):
            raise ValueError("control_port and source_replay are for the simulator and refused when deployed")
        return self
