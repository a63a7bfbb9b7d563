//! The wires: bytes to intents and events to bytes, without I/O. One folder per wire; knows only the model.

pub mod websocket;
