"""Transactional e-mail: typed templates, and senders that tell temporary errors from permanent ones."""
