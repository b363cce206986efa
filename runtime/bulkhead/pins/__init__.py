"""What was approved of each server, kept in the state folder: book.py judges a session by it, decide.py changes it."""

from bulkhead.pins.book import Judged, PinBook
from bulkhead.pins.store import Store, keys, other_tools, pinned_image

__all__ = ["Judged", "PinBook", "Store", "keys", "other_tools", "pinned_image"]
