"""The one process that talks to Interactive Brokers: it holds the session, works the ledger, and writes bars."""
