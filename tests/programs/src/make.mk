# Two make processes below the first one share its jobserver.
ifeq ($(LEVEL),1)
all: left right
	@echo all built
left right:
	@$(MAKE) -s -f $(firstword $(MAKEFILE_LIST)) LEVEL=2 SIDE=$@
else
all: $(foreach n,$(shell seq 12),$(SIDE)$(n))
$(SIDE)%:
	@echo begin $@
	@sleep 0.05
	@echo done $@
endif
.PHONY: all left right
