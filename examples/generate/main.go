// SPDX-License-Identifier: EUPL-1.2

// Command generate writes the two example files into the current folder, or n people of one authority to standard output:
//
//	go run ./examples/generate lk-nordtal 20000 > people.ldif
package main

import (
	"fmt"
	"os"
	"strconv"

	"codeberg.org/holdfast/holdfast/examples"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		if err := os.WriteFile("lk-nordtal.ldif", examples.Export(examples.Nordtal, examples.Seed, examples.NordtalPeople), 0o644); err != nil {
			return err
		}
		return os.WriteFile("sv-westmark.csv", examples.Export(examples.Westmark, examples.Seed, examples.WestmarkPeople), 0o644)
	}
	if len(args) != 2 {
		return fmt.Errorf("want no arguments, or an authority (%s, %s) and a number of people", examples.Nordtal, examples.Westmark)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("%q is not a number of people", args[1])
	}
	_, err = os.Stdout.Write(examples.Export(args[0], examples.Seed, n))
	return err
}
