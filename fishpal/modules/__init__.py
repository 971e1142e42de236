"""The candidate modules, one file a kind."""

from fishpal.modules.adapter import Adapter
from fishpal.modules.base import CandidateModule
from fishpal.modules.bias import Bias
from fishpal.modules.ia3 import Ia3
from fishpal.modules.lora import Lora
from fishpal.modules.prefix import Prefix

__all__ = ["Adapter", "Bias", "CandidateModule", "Ia3", "Lora", "Prefix"]
