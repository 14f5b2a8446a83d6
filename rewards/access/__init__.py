"""Who may call: machine keys, users' tokens; and the answers kept so that a repeated request is answered again."""
