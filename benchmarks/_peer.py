"""The endpoint a user would write: SQLAlchemy ORM rows -> Pydantic models -> FastAPI response."""

from datetime import UTC, datetime

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import BigInteger, Double, Integer, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

PATH = "/peer/bars"


class _Base(DeclarativeBase):
    pass


class _Bar(_Base):
    __tablename__ = "bars_minute"

    series_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    ts: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    open: Mapped[float] = mapped_column(Double)
    high: Mapped[float] = mapped_column(Double)
    low: Mapped[float] = mapped_column(Double)
    close: Mapped[float] = mapped_column(Double)
    volume: Mapped[float | None] = mapped_column(Double)


class Candle(BaseModel):
    time: str
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None


class Answer(BaseModel):
    symbol: str
    timeframe: str
    candles: list[Candle]
    total: int


def router(dsn: str) -> APIRouter:
    """The peer's one route, on the same database."""
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg2://"), pool_size=10)
    made = APIRouter()

    @made.get(PATH)
    def bars(start: int, end: int, limit: int = 1_000) -> Answer:
        with Session(engine) as session:
            rows = session.scalars(
                select(_Bar).where(_Bar.series_id == 1, _Bar.ts >= start, _Bar.ts < end).order_by(_Bar.ts).limit(limit)
            ).all()
        candles = [
            Candle(
                time=datetime.fromtimestamp(row.ts / 1e9, UTC).strftime("%Y%m%d  %H:%M:%SZ"),
                ts=row.ts,
                open=row.open,
                high=row.high,
                low=row.low,
                close=row.close,
                volume=row.volume,
            )
            for row in rows
        ]
        return Answer(symbol="AAPL", timeframe="1m", candles=candles, total=len(candles))

    return made
