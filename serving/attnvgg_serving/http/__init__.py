"""The wire: routes, bodies, options, headers. The pipeline behind it is `gateway`."""
