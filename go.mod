module codeberg.org/holdfast/holdfast

go 1.26
