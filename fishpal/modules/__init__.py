"""The candidate modules, one file a kind."""

from fishpal.modules.adapter import Adapter
from fishpal.modules.base import CandidateModule
from fishpal.modules.lora import Lora
from fishpal.modules.prefix import Prefix

__all__ = ["Adapter", "CandidateModule", "Lora", "Prefix"]
