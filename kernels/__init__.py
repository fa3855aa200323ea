"""Every op of GPT-2: a folder a family, a file a variant."""
