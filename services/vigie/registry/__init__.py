"""The registry: communes, zones, sites, cameras and their life, prefectoral authorisations."""
