"""Is the canary worse, and is it good enough: from raw samples to a judgement."""
