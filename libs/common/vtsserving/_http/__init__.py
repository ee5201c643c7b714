"""HTTP/1.1 connections with limits, shared by the services that listen for HTTP."""
