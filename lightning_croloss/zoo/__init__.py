"""The maintainers' factory of pretrained models: recipes, building, measuring, cards."""
