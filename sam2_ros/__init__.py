"""ROS 2 around the tracker: messages in, sam2_core, messages out."""
