//! What breaks under a host: disks, servers, lines and other programs. Nothing acknowledged is lost, nothing is doubled, and whoever
//! asks is told clearly.

mod disks;
mod files;
mod servers;
mod standby;
