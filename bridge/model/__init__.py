"""UPnP as data: devices, data types, LastChange, what plays; pure and frozen."""
