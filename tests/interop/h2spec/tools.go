//go:build tools

// Package tools names the program that the tests build: h2spec, the conformance test of HTTP/2.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
