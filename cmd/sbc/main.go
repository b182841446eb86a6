// Command sbc is Sallyport, a session border controller: the gate between a PBX and the Internet.
package main

import "os"

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }
