"""What all admin modules use: lists of any size, read-only pages, histories, confirmations, tables, charts."""
