"""What each loss can do for the N that will be deployed: the protocol of the paper, see protocol.py."""
