"""Progressive rollouts of LLM inference pools behind the GKE Inference Gateway."""

__version__ = "0.1.0"
