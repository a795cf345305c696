"""The UPnP side: sockets and HTTP towards devices, read into the core's model."""
