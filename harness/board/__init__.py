"""Shows what was proved and raced: tables, pages, ladders."""
