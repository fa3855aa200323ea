"""Proves, races, ranks and inspects variants: reads the registry, writes results/ and the generated pages."""
