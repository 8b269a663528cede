"""Progressive rollouts of LLM inference pools behind the GKE Inference Gateway."""
