"""Fine-tuning a pretrained model against training from scratch, on little data of new users."""
