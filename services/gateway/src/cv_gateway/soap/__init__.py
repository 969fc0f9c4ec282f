"""CVService v6 as SOAP 1.1: XML to the owners' JSON and back, by tables made from the schema; all else is the gateway's."""
