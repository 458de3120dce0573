"""What was ordered."""

from django.db import models


class Order(models.Model):
    """One order."""

    item = models.TextField()
    is_confirmed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.item
