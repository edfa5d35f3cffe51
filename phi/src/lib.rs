//! The assembled agent of phi.
