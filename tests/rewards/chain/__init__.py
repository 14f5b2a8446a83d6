"""The chain. Importing py-evm lets the whole process recurse so deeply that nested JSON, which other tests send, would
crash it: the limit is put back."""

import sys
from importlib import import_module

_limit = sys.getrecursionlimit()
import_module("eth")
sys.setrecursionlimit(_limit)
