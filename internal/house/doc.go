// Package house is the tests that guard the whole house: who may import whom, how files look, what pages and the README
// say, and what programs outside of the module can name. They run at the root of the module.
package house
