"""What the stream process reads. The local and the container API, which serve the same sockets, read the limits."""

from pydantic import Field

from nautilus.settings.api import ApiSettings
from nautilus.settings.base import Settings


class StreamLimits(Settings):
    """The limits of sockets and event streams. All times are machine time."""

    stream_beat_ms: int = Field(
        250, ge=20, le=5_000, description="a socket gets quotes and forming bars once in so long, the newest of each"
    )
    stream_heartbeat_s: float = Field(15.0, ge=0.1, le=30, description="how often a socket gets a heartbeat")
    stream_sockets_per_caller: int = Field(
        10, ge=1, description="sockets and event streams that one caller may have open"
    )
    stream_channels_per_socket: int = Field(200, ge=1, le=1_000, description="channels of one socket")
    stream_quotes_per_caller: int = Field(
        100, ge=1, description="channels of quotes and trades over all sockets of a caller"
    )
    stream_messages_per_s: float = Field(10.0, gt=0, description="messages that a socket may send in a second")
    stream_message_burst: int = Field(30, ge=1, description="messages that it may send at once")
    stream_frame_bytes: int = Field(16_384, ge=256, le=524_288, description="largest frame that a socket may send")
    stream_snapshot_bars: int = Field(
        2_000, ge=1, le=10_000, description="bars of a channel in one message; a resume with more gets a gap"
    )
    stream_stuck_s: float = Field(
        10.0, gt=0, description="a socket that takes nothing for so long is closed with code 4008"
    )
    stream_queue: int = Field(
        2_000, ge=100, description="messages that may wait for one socket; with more it is closed with code 4008"
    )
    stream_sign_in_s: float = Field(5.0, ge=0.1, le=60, description="how long a socket may be open before it signs in")
    stream_sign_in_again_s: float = Field(
        43_200.0, gt=0, description="how long a sign-in of a socket is good; then it must sign in anew"
    )
    stream_bye_s: float = Field(
        3.0, ge=0, le=60, description="over how long the sockets are closed, in random order, when the process ends"
    )


class StreamSettings(ApiSettings, StreamLimits):
    """What the stream process reads."""

    stream_port: int = Field(8_002, ge=1, le=65_535, description="port that the stream process listens on, at api_host")
