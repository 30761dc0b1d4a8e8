"""Updates of the appliance: signed bundles, two slots, a trial boot (docs/updates.md)."""
