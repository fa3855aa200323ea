"""Training data: texts, downloads, the tokenizer, token files and batches."""
