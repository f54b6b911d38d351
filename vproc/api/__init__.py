"""The HTTP API's handlers, a file a resource, and the route table's vocabulary. `vproc.http` makes the application of them."""
