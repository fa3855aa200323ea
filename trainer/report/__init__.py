"""The output for the user: tables, the progress bar, and facts about the machine."""
