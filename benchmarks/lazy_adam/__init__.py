"""Whether Recall suffers from sparse gradients: LazyAdam against AdamW, see protocol.py."""
