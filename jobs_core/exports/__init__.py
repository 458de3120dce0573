"""Tables as files: CSV and Excel, in bounded memory."""
