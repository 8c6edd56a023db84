"""Config errors in one sentence."""

def one_sentence(message: str) -> str:
    return message
