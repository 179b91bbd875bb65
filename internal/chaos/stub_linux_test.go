package chaos

func hostileMain(*control, []string) {}
func preyMain(*control, []string)    {}
