"""Two models, of which one refers to the other."""

from django.db import models

from idalloc_client.django import IdField, NextId


class Order(models.Model):  # type: ignore[misc]  # Django has no types
    """A row whose key is an id."""

    id = IdField("order", primary_key=True)
    customer = models.CharField(max_length=50)

    def __str__(self) -> str:
        return str(self.customer)


class Invoice(models.Model):  # type: ignore[misc]  # Django has no types
    """A row with an id beside its key, and another one in the order of an ordered tag."""

    order = models.ForeignKey(Order, models.CASCADE)
    number = IdField("invoice", unique=True, leased=False)
    shown = models.BigIntegerField(default=NextId("shown"))

    def __str__(self) -> str:
        return str(self.number)
